package mirror_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// A wire to a database that can be cut.
type wire struct {
	address  string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	broken   bool
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
				go carry(client, upstream)
				go carry(upstream, client)
			}
		}
	}()
	return w
}

func carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
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
	if w.broken {
		w.breakAll()
	}
	return !w.broken
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = true
	_ = w.listener.Close()
	w.breakAll()
}

func (w *wire) breakAll() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}
