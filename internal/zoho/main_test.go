package zoho

import (
	"testing"

	"go.uber.org/goleak"
)

// No call, retry or refresh leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
