package people

import (
	"testing"
	"time"

	"example.com/atm"
)

// TestSessionIsOverWhenIdleAndAfterItsLife asks the books at noon about sessions of the same
// caller that began and were seen at other times.
func TestSessionIsOverWhenIdleAndAfterItsLife(t *testing.T) {
	caller := &atm.Caller{Principal: atm.Principal{Subject: eve.Subject}, Session: "s"}
	for _, tt := range []struct {
		name             string
		begun, seen, end time.Duration // before noon; end is 0 for a session that was not ended
		over             bool
	}{
		{"just begun", 0, 0, 0, false},
		{"seen lately", time.Hour, SessionIdle - time.Second, 0, false},
		{"idle", time.Hour, SessionIdle, 0, true},
		{"idle for long", 7 * time.Hour, time.Hour, 0, true},
		{"nearly at the end of its life", SessionLife - time.Second, 0, 0, false},
		{"at the end of its life", SessionLife, 0, 0, true},
		{"used for longer", SessionLife + time.Hour, 0, 0, true},
		{"ended", time.Hour, 0, time.Second, true},
	} {
		s := Session{
			ID: "s", Subject: eve.Subject, Begun: noon.Add(-tt.begun), Seen: noon.Add(-tt.seen),
		}
		s.Ends = s.Begun.Add(SessionLife)
		if tt.end != 0 {
			s.Ended = noon.Add(-tt.end)
		}
		b := booksOf(t, func(k *Keys) { k.Visit(caller) }, []User{eve}, nil)
		b.sessions.Put(s.ID, s)
		if status, over := b.Absent(caller); over != tt.over || over != (status.Code ==
			atm.PermissionDenied) {
			t.Errorf("%s: over %t, %+v", tt.name, over, status)
		}
		b.Visited(caller)
		if now, _ := b.Session("s"); tt.over && !now.Seen.Equal(s.Seen) {
			t.Errorf("%s: it was seen again", tt.name)
		}
	}
}
