package e2e

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A link stands between the binary and its database. It understands as much of PostgreSQL's
// protocol as it takes to count: a request is what the binary sends up to a place where it
// waits for an answer (a start, a password, Query, Sync, Flush), and an answered one ends
// with ReadyForQuery: a transaction is committed by then, or rolled back.
type link struct {
	server string
	url    string // of the database, through the link

	mu       sync.Mutex
	requests int
	answers  int
	at       moment
	do       func() (lost bool)
	struck   int
	down     bool
	open     map[net.Conn]bool
}

// A moment lies before the n-th request arrives, or after the n-th was answered, of which
// the binary learns nothing.
type moment struct {
	n     int
	after bool
}

func newLink(t *testing.T, database string) *link {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	l := &link{server: u.Host, open: map[net.Conn]bool{}}
	u.Host = listener.Addr().String()
	l.url = u.String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go l.relay(client)
		}
	}()
	return l
}

// strike does something at a moment, counted from now; the connection is lost where it says so.
func (l *link) strike(at moment, do func() (lost bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests, l.answers, l.struck, l.at, l.do = 0, 0, 0, at, do
}

// calm ends all strikes. It returns how much has passed since they began, and whether one
// has struck.
func (l *link) calm() (requests, answers, struck int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests, answers, struck = l.requests, l.answers, l.struck
	l.requests, l.answers, l.struck, l.at, l.do = 0, 0, 0, moment{}, nil
	return requests, answers, struck
}

// cut breaks all connections and lets none through until it is told otherwise.
func (l *link) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		for conn := range l.open {
			_ = conn.Close()
		}
	}
}

func (l *link) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.server)
	if err != nil || !l.enter(client) {
		return
	}
	defer l.leave(client)
	defer server.Close()
	go func() {
		defer client.Close()
		defer server.Close()
		from := bufio.NewReader(server)
		for {
			frame, err := readFrame(from, true)
			if err != nil || frame[0] == 'Z' && l.passes(true) {
				return
			}
			if _, err := client.Write(frame); err != nil {
				return
			}
		}
	}()
	from := bufio.NewReader(client)
	for typed := false; ; typed = true {
		frame, err := readFrame(from, typed)
		if err != nil || waits(frame, typed) && l.passes(false) {
			return
		}
		if _, err := server.Write(frame); err != nil {
			return
		}
	}
}

func (l *link) enter(client net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[client] = true
	return !l.down
}

func (l *link) leave(client net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, client)
}

// waits reports whether the binary expects an answer to what ends with this frame.
func waits(frame []byte, typed bool) bool {
	const cancelRequest = 80877102
	if !typed {
		return binary.BigEndian.Uint32(frame[4:]) != cancelRequest
	}
	switch frame[0] {
	case 'p', 'Q', 'S', 'H':
		return true
	}
	return false
}

// passes counts a request or an answer, and reports whether it is lost.
func (l *link) passes(answer bool) (lost bool) {
	l.mu.Lock()
	count := &l.requests
	if answer {
		count = &l.answers
	}
	*count++
	do := l.do
	if l.at != (moment{*count, answer}) || do == nil {
		l.mu.Unlock()
		return false
	}
	l.struck++
	l.mu.Unlock()
	return do()
}

// readFrame reads one message: a letter, where it has one, its length, its body.
func readFrame(from *bufio.Reader, typed bool) ([]byte, error) {
	head := make([]byte, 4, 5)
	if typed {
		head = head[:5]
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[len(head)-4:])
	frame := append(head, make([]byte, size-4)...)
	_, err := io.ReadFull(from, frame[len(head):])
	return frame, err
}
