// A Go service that drains without breaking a kept connection.
//
// What matters: it listens on the socket that it is given (descriptor 3), and on SIGTERM it closes nothing at once. Both
// Shutdown and SetKeepAlivesEnabled(false) close every idle keep-alive connection immediately, and a client that sends its next
// request in that moment gets a reset. So for a while every answer says `Connection: close`, which makes the clients leave by
// themselves; only then comes Shutdown.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const grace = 5 * time.Second

func listener() (net.Listener, error) {
	// LISTEN_FDS is the number of descriptors from 3 on; without it the program is run by hand.
	if os.Getenv("LISTEN_FDS") != "" {
		return net.FileListener(os.NewFile(3, "http"))
	}
	return net.Listen("tcp", ":8080")
}

func main() {
	version := "dev"
	if len(os.Args) > 1 {
		version = os.Args[1]
	}
	var draining int32
	var connections int64

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", version)
		if atomic.LoadInt32(&draining) == 1 {
			w.Header().Set("Connection", "close")
			if r.URL.Path == "/ready" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintf(w, "hello from %s\n", version)
	})
	server := &http.Server{
		Handler: handler,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				atomic.AddInt64(&connections, 1)
			case http.StateClosed, http.StateHijacked:
				atomic.AddInt64(&connections, -1)
			}
		},
	}

	socket, err := listener()
	if err != nil {
		log.Fatalf("no socket to listen on: %v", err)
	}
	go func() {
		if err := server.Serve(socket); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()

	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	<-terminate
	atomic.StoreInt32(&draining, 1)
	for end := time.Now().Add(grace); time.Now().Before(end) && atomic.LoadInt64(&connections) > 0; {
		time.Sleep(20 * time.Millisecond)
	}
	// Requests that are still being worked on get the rest of the manifest's drain deadline.
	rest, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(rest); err != nil {
		log.Printf("requests were cut: %v", err)
	}
}
