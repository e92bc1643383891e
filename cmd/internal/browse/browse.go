// Package browse opens the console of a server in a browser on this machine, as kubectl proxy
// does: a listener on loopback calls the server with the credentials of the command.
//
// A browser refuses passkeys on a page whose authority it does not know, warns of that page,
// and rarely has the client certificates of this machine. The listener needs none of that. It
// answers only requests with its own name as Host, after a code that works once, and only
// forwards the console and the audit log.
package browse

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed" // the first page
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
)

const (
	cookieName = "__Host-atm-proxy-" // and the port: a browser sends cookies to every port
	maxHeader  = 16 << 10
	shutdown   = 2 * time.Second
)

//go:embed open.html
var openPage []byte

//go:embed open.mjs
var openScript []byte

// A Proxy forwards the requests of one browser to a server.
type Proxy struct {
	host    string // name and port in the browser's requests
	name    string // of the cookie
	code    string // the browser must present it first
	cookie  string // proves that the browser has presented the code
	used    atomic.Bool
	cross   *http.CrossOriginProtection
	forward *httputil.ReverseProxy
}

// New returns a proxy that is reached at host, a name and a port, and calls the server of c.
func New(c *client.Client, host string) (*Proxy, error) {
	server, err := url.Parse(c.Base())
	if err != nil {
		return nil, err
	}
	return &Proxy{
		host: host, name: cookieName + host[strings.LastIndexByte(host, ':')+1:],
		code: rand.Text(), cookie: rand.Text(),
		cross: http.NewCrossOriginProtection(),
		forward: &httputil.ReverseProxy{
			Transport: c.HTTP().Transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(server)
				// The headers about the browser have been checked here, and their origin is not the
				// server's.
				for name := range r.Out.Header {
					if name == "Origin" || name == "Cookie" || name == "Authorization" ||
						name == "Referer" || strings.HasPrefix(name, "Sec-Fetch-") {
						r.Out.Header.Del(name)
					}
				}
			},
			ModifyResponse: func(r *http.Response) error {
				r.Header.Del("WWW-Authenticate") // the browser takes no part in the sign-in
				return nil
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				refuse(w, http.StatusBadGateway, "The server cannot be reached: "+err.Error())
			},
			ErrorLog: log.New(io.Discard, "", 0),
		},
	}, nil
}

// Link is the URL that opens the console. The code is in its fragment, which a browser does not
// send.
func (p *Proxy) Link() string { return "http://" + p.host + "/#" + p.code }

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Host != p.host {
		http.Error(w, "This is the console of "+p.host+".", http.StatusMisdirectedRequest)
		return
	}
	if err := p.cross.Check(r); err != nil {
		http.Error(w, "Requests from other sites' pages are refused.", http.StatusForbidden)
		return
	}
	switch path := r.URL.Path; {
	case path == "/" && r.Method == http.MethodGet:
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.Write(openPage)
	case path == "/open.mjs" && r.Method == http.MethodGet:
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		w.Write(openScript)
	case path == "/open" && r.Method == http.MethodPost:
		p.open(w, r)
	case path == "/console" || strings.HasPrefix(path, "/console/"),
		strings.HasPrefix(path, "/audit/"):
		if !p.opened(r) {
			refuse(w, http.StatusForbidden, "Open the link that the command printed. It works "+
				"once: if it was used, start the command again.")
			return
		}
		h.Del("Cache-Control") // the server sets it
		h.Del("X-Content-Type-Options")
		p.forward.ServeHTTP(w, r)
	default:
		refuse(w, http.StatusNotFound, "There is nothing here but the console.")
	}
}

// refusal is a page with a sentence and a way back.
var refusal = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ATM</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; margin: 24px auto; max-width: 40rem }</style>
<main><h1>{{.Title}}</h1>
<p>{{.Sentence}}</p>
<p><a href="/console/">To the console</a></p></main>
</html>
`))

// refuse answers with a page that says a sentence.
func refuse(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	refusal.Execute(w, struct{ Title, Sentence string }{http.StatusText(status), sentence})
}

// open admits the browser that presents the code. The code works once.
func (p *Proxy) open(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	code := r.PostFormValue("code")
	if subtle.ConstantTimeCompare([]byte(code), []byte(p.code)) != 1 || p.used.Swap(true) {
		refuse(w, http.StatusForbidden, "This code is wrong, or was used before. A browser that "+
			"used it can go on; for another one, start the command again.")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: p.name, Value: p.cookie, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, "/console/", http.StatusSeeOther)
}

func (p *Proxy) opened(r *http.Request) bool {
	cookie, err := r.Cookie(p.name)
	return err == nil && subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(p.cookie)) == 1
}

// Serve opens the console of the server of c at a loopback address until ctx is done, and calls
// ready with the link.
func Serve(ctx context.Context, c *client.Client, address string, ready func(link string)) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer listener.Close()
	at, ok := listener.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return fmt.Errorf("%s is not on loopback; others could use it in your name", address)
	}
	p, err := New(c, fmt.Sprintf("localhost:%d", at.Port))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: p, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	ready(p.Link())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), server.Close())
}

// Run is Serve for a command: it prints the link, and opens it in a browser if browser is set.
func Run(ctx context.Context, c *client.Client, address string, w io.Writer, browser bool) error {
	if err := check(ctx, c); err != nil {
		return err
	}
	return Serve(ctx, c, address, func(link string) {
		fmt.Fprintf(w, "The console is open until you press Ctrl-C: %s\n", link)
		if browser && exit.Terminal(w) != nil {
			_ = Show(link) // there may be no browser; the link is printed anyway
		}
	})
}

// check makes sure that the server takes the credentials and has a console.
func check(ctx context.Context, c *client.Client) error {
	if _, err := c.Call(ctx, "whoami"); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base()+"/console/", nil)
	if err != nil {
		return err
	}
	answer, err := c.HTTP().Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return errors.New("the server has no console here: atmserver --console turns it on")
	}
	return nil
}

// Show shows a URL in the default browser of this machine, if it has one.
func Show(link string) error {
	switch runtime.GOOS {
	case "darwin":
		return exec.Command("open", link).Start()
	case "windows":
		return exec.Command("rundll32", "url.dll,FileProtocolHandler", link).Start()
	}
	return exec.Command("xdg-open", link).Start()
}
