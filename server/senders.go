package server

import (
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/auth/digest"
	"example.com/atm/xmlrpc"
)

// senders tells who sent a request, and answers those that do not sign in. What fails is
// counted, recorded, and makes its address wait.
type senders struct {
	cfg   *Config
	cross *http.CrossOriginProtection
	trail *trail
}

func newSenders(cfg *Config) *senders {
	return &senders{
		cfg: cfg, cross: http.NewCrossOriginProtection(), trail: newTrail(cfg.Teller, cfg.Log),
	}
}

// crossSite answers 403 and returns true if a page of another site made a browser send r, perhaps
// with its certificate.
func (s *senders) crossSite(w http.ResponseWriter, r *http.Request) bool {
	if s.cross.Check(r) == nil {
		return false
	}
	declineForeign(w)
	return true
}

func declineForeign(w http.ResponseWriter) {
	xmlrpc.Decline(w, http.StatusForbidden, "Requests from other sites' pages are refused.")
}

// signIn returns the sender of r, or answers and returns nil.
func (s *senders) signIn(w http.ResponseWriter, r *http.Request) *atm.Caller {
	header := r.Header.Get("Authorization")
	from := auth.Address(r.RemoteAddr)
	if header != "" && s.cfg.Throttle.Failing(from) {
		wait, user := s.cfg.Throttle.Wait, digest.Claimed(header)
		// A certificate cannot be guessed, so only passwords are throttled.
		if s.cfg.Authenticator.HasCertificate(r) {
			wait = s.cfg.Throttle.WaitAs
		}
		if s.slowedBy(w, presented(r), wait(from, user)) {
			return nil
		}
	}
	caller, fields, err := s.cfg.Authenticator.Authenticate(r)
	if err == nil {
		s.cfg.Metrics.SignIn(caller.Method, "ok")
		signedIn(r)
		for name, values := range fields {
			w.Header()[name] = values
		}
		return caller
	}
	s.turnAway(w, r, err)
	return nil
}

// again checks the sender of r after the body has arrived, because a credential may have been
// revoked since. It returns the caller as of now, or answers and returns nil.
func (s *senders) again(w http.ResponseWriter, r *http.Request, caller *atm.Caller) *atm.Caller {
	now, err := s.cfg.Authenticator.Again(r, caller)
	switch {
	case err == nil:
	case caller.Session != "":
		s.endSession(w, r, err)
		return nil
	default:
		s.turnAway(w, r, err)
		return nil
	}
	return now
}

// turnAway answers a request whose sender did not sign in because of err.
func (s *senders) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	header, from := r.Header.Get("Authorization"), auth.Address(r.RemoteAddr)
	var failure *auth.Error
	switch {
	case errors.Is(err, auth.ErrTwoHeaders):
		s.trail.signInFailed(r, err.Error())
		xmlrpc.Decline(w, http.StatusBadRequest, "Send one Authorization header.")
		return
	case errors.Is(err, auth.ErrUnavailable):
		s.cfg.Metrics.SignIn(presented(r), "unavailable")
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot check a sign-in at "+
			"the moment.")
		return
	case errors.Is(err, auth.ErrBusy):
		s.cfg.Metrics.SignIn(presented(r), "busy")
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "Too many others are signing in at the "+
			"moment.")
		return
	case errors.As(err, &failure):
		// A good certificate cannot be guessed, so its holder never has to wait.
		user := digest.Claimed(header)
		if user == "" && s.slowDown(w, presented(r), from, user) {
			return
		}
		s.failed(r, presented(r), user, failure.Reason)
	}
	w.Header()["Www-Authenticate"] = s.cfg.Authenticator.Challenges(errors.Is(err, auth.ErrStale))
	http.Error(w, "Sign in with a client certificate of this server's authority, HTTP Digest, or "+
		"a bearer token.", http.StatusUnauthorized)
}

// failed notes that the sender of r did not sign in by a method, as a user or as nobody.
func (s *senders) failed(r *http.Request, method, user, reason string) {
	s.cfg.Metrics.SignIn(method, "failed")
	s.cfg.Throttle.Failed(auth.Address(r.RemoteAddr), user)
	s.trail.signInFailed(r, reason)
}

// slowDown answers 429 and returns true if too many sign-ins from this address, or from this
// address as this user, have failed.
func (s *senders) slowDown(w http.ResponseWriter, method string, from netip.Addr,
	user string,
) bool {
	return s.slowedBy(w, method, s.cfg.Throttle.Wait(from, user))
}

// slowedBy answers 429 and returns true if wait is positive.
func (s *senders) slowedBy(w http.ResponseWriter, method string, wait time.Duration) bool {
	if wait == 0 {
		return false
	}
	s.cfg.Metrics.SignIn(method, "throttled")
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	xmlrpc.Decline(w, http.StatusTooManyRequests,
		"Too many sign-ins from your address have failed.")
	return true
}

// presented names, from a closed set, the kind of credential in a request.
func presented(r *http.Request) string {
	switch scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); {
	case scheme == "":
		return "mtls"
	case strings.EqualFold(scheme, "Digest"):
		return "digest"
	case strings.EqualFold(scheme, "Bearer"):
		return "jwt"
	}
	return "other"
}
