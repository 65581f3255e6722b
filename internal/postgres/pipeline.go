package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A statement is one step of a pipeline, its parameters encoded.
type statement struct {
	sql     string
	values  [][]byte
	oids    []uint32
	formats []int16
	row     func(values [][]byte) // called with each row of the result, in text
	done    func(affected int64)  // called when it is executed
	late    func(*statement)      // sets the above when its turn has come to be bound
}

// A pipeline sends statements as one transaction, in two steps, on a connection that it
// has to itself. First everything large: all statements are parsed and bound, and nothing
// is executed, so nothing is locked. When the server has it all, the second step executes
// them, in a hundred bytes that cannot arrive in part. Were it one step, a process that is
// frozen while it sends a page would keep the module's lock row: PostgreSQL's limits do not
// run while it waits for the rest of a message.
type pipeline struct {
	conn   *pgconn.PgConn
	buffer *[]byte // megabytes, used again from page to page
}

// run executes the steps and returns how many were done before the error.
func (p pipeline) run(ctx context.Context, steps []statement) (done int, err error) {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.Conn().SetDeadline(time.Unix(1, 0)) })
	defer func() {
		cut := !stop()
		if cut && err != nil {
			err = context.Cause(ctx)
		}
		if cut || err != nil && sqlState(err) == "" {
			p.abandon(context.WithoutCancel(ctx))
		}
	}()
	bound, err := p.encode(steps)
	if err != nil {
		return 0, err
	}
	if bound > atOnce {
		if err := p.bind(len(steps)); err != nil {
			return 0, err
		}
	}
	return p.execute(steps)
}

// abandon gives up a connection of which it cannot be known what is in flight. The server
// would not notice while it waits, for another session's lock say, and would keep the module's
// lock row all the while: it is told to stop.
func (p pipeline) abandon(ctx context.Context) {
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = p.conn.CancelRequest(ctx) // a server that is gone has nothing to stop
	_ = p.conn.Conn().Close()
	_ = p.conn.Close(ctx)
}

// atOnce is a size that a socket takes whole: no second step is needed for so little.
const atOnce = 8 << 10

func portal(step int) string { return "step" + strconv.Itoa(step) }

// encode has all statements parsed, each under no name, and bound to a portal, which lives
// as long as the transaction. What is large is sent at once: the server reads it while the
// next statement is encoded. It returns how much it has sent and left in the buffer.
func (p pipeline) encode(steps []statement) (size int, err error) {
	*p.buffer = (*p.buffer)[:0]
	for _, i := range lateLast(steps) {
		s := steps[i]
		if s.late != nil {
			s.late(&s)
		}
		for _, message := range []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: s.sql, ParameterOIDs: s.oids},
			&pgproto3.Bind{DestinationPortal: portal(i), ParameterFormatCodes: s.formats, Parameters: s.values},
		} {
			if *p.buffer, err = message.Encode(*p.buffer); err != nil {
				return 0, fmt.Errorf("encode a page: %w", err)
			}
		}
		if n := len(*p.buffer); n > atOnce {
			size += n
			if err := p.send(); err != nil {
				return 0, err
			}
		}
	}
	return size + len(*p.buffer), nil
}

// send writes what is encoded, and then the messages.
func (p pipeline) send(messages ...pgproto3.FrontendMessage) (err error) {
	for _, message := range messages {
		if *p.buffer, err = message.Encode(*p.buffer); err != nil {
			return fmt.Errorf("encode a page: %w", err)
		}
	}
	if _, err := p.conn.Conn().Write(*p.buffer); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	*p.buffer = (*p.buffer)[:0]
	return nil
}

// bind sends what is encoded and waits until the server has bound all n statements.
func (p pipeline) bind(n int) error {
	if err := p.send(&pgproto3.Flush{}); err != nil {
		return err
	}
	for bound := 0; bound < n; {
		message, err := p.conn.Frontend().Receive()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch message := message.(type) {
		case *pgproto3.BindComplete:
			bound++
		case *pgproto3.ErrorResponse:
			refused := pgconn.ErrorResponseToPgError(message)
			if err := p.send(&pgproto3.Sync{}); err != nil {
				return err
			}
			if _, err := p.results(nil); err != nil {
				return err
			}
			return refused
		}
	}
	return nil
}

// lateLast is the order in which steps are bound: the rows last, which PostgreSQL does
// noticeably faster than to bind anything after them.
func lateLast(steps []statement) []int {
	order := make([]int, len(steps))
	for i := range steps {
		order[i] = i
	}
	rank := func(i int) int {
		if steps[i].late != nil {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(a) - rank(b) })
	return order
}

func (p pipeline) execute(steps []statement) (done int, err error) {
	var messages []pgproto3.FrontendMessage
	for i := range steps {
		messages = append(messages, &pgproto3.Execute{Portal: portal(i)})
	}
	if err := p.send(append(messages, &pgproto3.Sync{})...); err != nil {
		return 0, err
	}
	return p.results(steps)
}

// results reads all results to the end of the transaction.
func (p pipeline) results(steps []statement) (done int, err error) {
	for {
		message, broken := p.conn.Frontend().Receive()
		if broken != nil {
			return done, fmt.Errorf("receive: %w", broken)
		}
		switch message := message.(type) {
		case *pgproto3.DataRow:
			if done < len(steps) && steps[done].row != nil {
				steps[done].row(message.Values)
			}
		case *pgproto3.CommandComplete:
			if done < len(steps) && steps[done].done != nil {
				steps[done].done(pgconn.NewCommandTag(string(message.CommandTag)).RowsAffected())
			}
			done++
		case *pgproto3.ErrorResponse:
			err = pgconn.ErrorResponseToPgError(message)
		case *pgproto3.ReadyForQuery:
			return done, err
		}
	}
}
