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
	do       func() verdict
	struck   int
	open     int             // connections of the binary
	heard    map[string]bool // all SQL that the binary sent
	session  []string        // what would not outlive a transaction behind a pooler
}

// A verdict is what becomes of a request or an answer.
type verdict int

const (
	arrives verdict = iota
	lost            // with its connection
	halved          // all but the message that ends it arrives; then the connection breaks
)

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
	l := &link{server: u.Host, heard: map[string]bool{}}
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

// strike does something at a moment, counted from now.
func (l *link) strike(at moment, do func() verdict) {
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

// clients is how many connections the binary has.
func (l *link) clients() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *link) count(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += more
}

func (l *link) relay(client net.Conn) {
	l.count(1)
	defer l.count(-1)
	defer client.Close()
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer client.Close()
		defer server.Close()
		from := bufio.NewReader(server)
		for {
			frame, err := readFrame(from, true)
			if err != nil || frame[0] == 'Z' && l.judge(true) != arrives {
				return
			}
			if _, err := client.Write(frame); err != nil {
				return
			}
		}
	}()
	l.requestsOf(bufio.NewReader(client), server)
}

// requestsOf passes requests on, each as a whole: the binary sends what ends one in a single
// write.
func (l *link) requestsOf(client *bufio.Reader, server net.Conn) {
	var request []byte
	for typed := false; ; typed = true {
		frame, err := readFrame(client, typed)
		if err != nil {
			return
		}
		if !typed && binary.BigEndian.Uint32(frame[4:]) == cancelRequest {
			_, _ = server.Write(frame) // all that this connection is for
			continue
		}
		l.listen(frame, typed)
		if typed && !waits(frame[0]) {
			request = append(request, frame...)
			continue
		}
		verdict := l.judge(false)
		if verdict == arrives {
			request = append(request, frame...)
		}
		if verdict != lost {
			_, err = server.Write(request)
		}
		if err != nil || verdict != arrives {
			return
		}
		request = request[:0]
	}
}

// cancelRequest begins a connection that asks the server to end another one's statement.
const cancelRequest = 80877102

// waits reports whether the binary expects an answer to what ends with this message.
func waits(message byte) bool {
	return message == 'p' || message == 'Q' || message == 'S' || message == 'H'
}

// judge counts a request or an answer, and says what becomes of it.
func (l *link) judge(answer bool) verdict {
	l.mu.Lock()
	count := &l.requests
	if answer {
		count = &l.answers
	}
	*count++
	do := l.do
	if l.at != (moment{*count, answer}) || do == nil {
		l.mu.Unlock()
		return arrives
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
