package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	qmpSeconds = 60 * time.Second // QEMU answers within milliseconds; on a busy machine within seconds
	maxEvents  = 256
)

var errGone = errors.New("QEMU has ended")

// qmpEvent is something that QEMU reported by itself. At is the moment of its own stamp, on the monotonic clock.
type qmpEvent struct {
	name string
	at   time.Time
	data struct {
		Status string `json:"status"`
		Pass   int    `json:"pass"`
	}
}

// qmp is a connection to the monitor of a QEMU process: one command at a time, and events as they come.
type qmp struct {
	conn    net.Conn
	events  chan qmpEvent // closed when QEMU has ended
	asking  sync.Mutex
	answers chan qmpAnswer
}

type qmpAnswer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// qmpStamp is QEMU's time of an event, by the wall clock.
type qmpStamp struct {
	Seconds      int64 `json:"seconds"`
	Microseconds int64 `json:"microseconds"`
}

// newQMP greets the monitor; conn is connected to it.
func newQMP(conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, events: make(chan qmpEvent, maxEvents), answers: make(chan qmpAnswer, 1)}
	go q.read()
	return q, q.execute("qmp_capabilities", nil, nil)
}

func (q *qmp) read() {
	defer close(q.answers)
	defer close(q.events)
	defer q.conn.Close()
	lines := bufio.NewReader(q.conn)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		q.take(line, time.Now())
	}
}

// take sorts one line of the monitor into events and answers.
func (q *qmp) take(line []byte, arrived time.Time) {
	var message struct {
		qmpAnswer
		Event     string          `json:"event"`
		Timestamp qmpStamp        `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	if json.Unmarshal(line, &message) != nil {
		return
	}
	switch {
	case message.Event != "":
		event := qmpEvent{name: message.Event, at: stampedAt(message.Timestamp, arrived)}
		_ = json.Unmarshal(message.Data, &event.data)
		select {
		case q.events <- event:
		default: // nobody reads: between two moves only the latest events count
			<-q.events
			q.events <- event
		}
	case message.Return != nil || message.Error != nil:
		q.answers <- message.qmpAnswer
	}
}

// stampedAt puts QEMU's stamp on the monotonic clock, so that a step of the wall clock spoils only what arrives meanwhile.
func stampedAt(stamp qmpStamp, arrived time.Time) time.Time {
	late := arrived.Round(0).Sub(time.Unix(stamp.Seconds, stamp.Microseconds*1000))
	return arrived.Add(-max(0, late))
}

// execute runs a command and decodes what it returns; arguments and result may be nil.
func (q *qmp) execute(command string, arguments map[string]any, result any) error {
	q.asking.Lock()
	defer q.asking.Unlock()
	message := map[string]any{"execute": command}
	if arguments != nil {
		message["arguments"] = arguments
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := q.conn.Write(append(data, '\n')); err != nil {
		return errGone
	}
	select {
	case answer, ok := <-q.answers:
		switch {
		case !ok:
			return errGone
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		case result != nil:
			return json.Unmarshal(answer.Return, result)
		}
		return nil
	case <-time.After(qmpSeconds):
		q.conn.Close() // a late answer must not be taken for the next one's
		return fmt.Errorf("%s: no answer in %s", command, qmpSeconds)
	}
}

// drain discards the events of the past.
func (q *qmp) drain() {
	for {
		select {
		case _, ok := <-q.events:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// await returns the next event of that name; others before it are discarded.
func (q *qmp) await(name string, within time.Duration) (qmpEvent, error) {
	late := time.After(within)
	for {
		select {
		case event, ok := <-q.events:
			if !ok {
				return event, errGone
			}
			if event.name == name {
				return event, nil
			}
		case <-late:
			return qmpEvent{}, fmt.Errorf("QEMU did not report %s in %s", name, within)
		}
	}
}
