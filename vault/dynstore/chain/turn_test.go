package chain

import "testing"

func TestStateToBuildOnIsLaterAndFinished(t *testing.T) {
	older, newest := &State{Version: 3}, &State{Version: 4}
	unfinished := &State{Version: 4, Head: Head{Staged: &Staged{ID: "x"}}}
	for _, tt := range []struct{ newest, before, want *State }{
		{nil, nil, nil},
		{newest, nil, newest},
		{newest, older, newest},
		{newest, newest, nil},
		{unfinished, older, nil}, // its records are not written yet
		{unfinished, nil, nil},
	} {
		c := &Chain{newest: tt.newest}
		if got := c.After(tt.before); got != tt.want {
			t.Errorf("%+v after %+v, not %+v", got, tt.before, tt.want)
		}
	}
}
