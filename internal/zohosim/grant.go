package zohosim

import (
	"fmt"
	"slices"
	"time"
)

// Grant types that Zoho documents.
const (
	grantRefresh = "refresh_token"
	grantCode    = "authorization_code"
)

const refreshTokens = 20 // a user and client; the next one deletes the oldest

// GrantCode is what the console's self client would show: a code for one exchange within
// its life.
func (z *Zoho) GrantCode(life time.Duration) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.tokens.codes == nil {
		z.tokens.codes = map[string]time.Time{}
	}
	now := z.now()
	z.tokens.granted++
	code := fmt.Sprintf("1000.%032x.%032x", z.tokens.granted, now.UnixNano())
	z.tokens.codes[code] = now.Add(life)
	return code
}

// redeem uses a code up and reports whether it was good. The caller holds the mutex.
func (z *Zoho) redeem(code string) bool {
	end, known := z.tokens.codes[code]
	delete(z.tokens.codes, code)
	return known && z.now().Before(end)
}

// grant hands out a refresh token. The caller holds the mutex.
func (z *Zoho) grant() string {
	text := fmt.Sprintf("1000.%032x.%032x", z.tokens.count, z.now().UnixNano())
	z.tokens.refreshes = append(z.tokens.refreshes, text)
	if extra := len(z.tokens.refreshes) - refreshTokens; extra > 0 {
		z.tokens.refreshes = z.tokens.refreshes[extra:]
	}
	return text
}

// consented reports whether a refresh token is good. The caller holds the mutex.
func (z *Zoho) consented(text string) bool {
	return text == z.config.RefreshToken || slices.Contains(z.tokens.refreshes, text)
}
