package config

import (
	"net"
	"net/url"
	"strings"
)

type hosts struct{ accounts, api string }

// centres are Zoho's data centres. The hosts are listed and not composed, since Canada's
// accounts host does not follow the pattern (https://www.zoho.com/crm/developer/docs/api/v8/multi-dc.html).
var centres = map[string]hosts{
	"us": {"https://accounts.zoho.com", "https://www.zohoapis.com"},
	"eu": {"https://accounts.zoho.eu", "https://www.zohoapis.eu"},
	"in": {"https://accounts.zoho.in", "https://www.zohoapis.in"},
	"au": {"https://accounts.zoho.com.au", "https://www.zohoapis.com.au"},
	"jp": {"https://accounts.zoho.jp", "https://www.zohoapis.jp"},
	"ca": {"https://accounts.zohocloud.ca", "https://www.zohoapis.ca"},
	"sa": {"https://accounts.zoho.sa", "https://www.zohoapis.sa"},
	"cn": {"https://accounts.zoho.com.cn", "https://www.zohoapis.com.cn"},
	"uk": {"https://accounts.zoho.uk", "https://www.zohoapis.uk"},
	"ae": {"https://accounts.zoho.ae", "https://www.zohoapis.ae"},
}

const centreNames = "us, eu, in, au, jp, ca, sa, cn, uk, ae"

// CentreOf says of which data centre an API address is, a sandbox's and a developer org's included.
func CentreOf(api string) (dc string, known bool) {
	u, err := url.Parse(api)
	if err != nil || u.Scheme != "https" || u.Port() != "" || u.Path != "" {
		return "", false
	}
	kind, rest, _ := strings.Cut(u.Host, ".")
	if kind != "www" && kind != "sandbox" && kind != "developer" {
		return "", false
	}
	for name, hosts := range centres {
		if hosts.api == "https://www."+rest {
			return name, true
		}
	}
	return "", false
}

// StandardHosts reports whether these are a data centre's own addresses.
func StandardHosts(dc, accounts, api string) bool { return centres[dc] == hosts{accounts, api} }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Centre is the name of the data centre to which an API address belongs, or nothing.
func Centre(apiURL string) string {
	for name, hosts := range centres {
		if hosts.api == apiURL {
			return name
		}
	}
	return ""
}
