package mirror_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// A wire to a database that can be cut.
type wire struct {
	address  string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	broken   atomic.Bool
}

func newWire(t *testing.T, database string) *wire {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	u.Host = listener.Addr().String()
	w := &wire{address: u.String(), listener: listener}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			if upstream, err := net.Dial("tcp", server); err == nil && w.keep(client, upstream) {
				go w.carry(client, upstream)
				go w.carry(upstream, client)
			}
		}
	}()
	return w
}

// carry passes on nothing once the wire is cut: connections break one by one, and a process
// that sees the first one break could otherwise still say so over the next.
func (w *wire) carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if w.broken.Load() {
			n = 0
		}
		if _, lost := to.Write(buffer[:n]); err != nil || lost != nil {
			_ = to.Close()
			return
		}
	}
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conns...)
	broken := w.broken.Load()
	if broken {
		w.breakAll()
	}
	return !broken
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken.Store(true)
	_ = w.listener.Close()
	w.breakAll()
}

func (w *wire) breakAll() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}
