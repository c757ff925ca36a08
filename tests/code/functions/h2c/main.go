// What tests/code/http_functions.py and containers.py speak HTTP/2 with: net/http's own server, with HTTP/1.1 or without.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	lock        sync.Mutex
	now, most   int
	connections = map[string]bool{}
)

func begin(request *http.Request) func() {
	lock.Lock()
	defer lock.Unlock()
	connections[request.RemoteAddr] = true
	now++
	most = max(most, now)
	return func() {
		lock.Lock()
		now--
		lock.Unlock()
	}
}

func number(text string) int {
	value, _ := strconv.Atoi(text)
	return value
}

func serve(answer http.ResponseWriter, request *http.Request) {
	defer begin(request)()
	first, rest, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	switch first {
	case "echo":
		answer.Header().Set("Content-Type", request.Header.Get("Content-Type"))
		io.Copy(answer, request.Body)
	case "status":
		answer.Header().Add("Set-Cookie", "a=1")
		answer.Header().Add("Set-Cookie", "b=2")
		answer.WriteHeader(number(rest))
	case "sleep":
		time.Sleep(time.Duration(number(rest)) * time.Millisecond)
		lock.Lock()
		defer lock.Unlock()
		json.NewEncoder(answer).Encode(map[string]any{"most": most, "connections": len(connections)})
	case "large":
		answer.Write(make([]byte, number(rest)))
	case "headers":
		for i := range number(rest) {
			answer.Header().Set(fmt.Sprint("X-Many-", i), strings.Repeat("v", 1000))
		}
	case "trailers":
		answer.Header().Set("Trailer", "X-Trailer")
		answer.WriteHeader(103)
		io.WriteString(answer, "body")
		answer.Header().Set("X-Trailer", "dropped")
	case "unread":
		answer.WriteHeader(http.StatusForbidden)
		io.WriteString(answer, "no more")
	case "abort":
		panic(http.ErrAbortHandler)
	case "exit":
		os.Exit(number(rest))
	default:
		body, _ := io.ReadAll(request.Body)
		json.NewEncoder(answer).Encode(map[string]any{"protocol": request.Proto, "method": request.Method, "path": request.URL.EscapedPath(),
			"query": request.URL.RawQuery, "host": request.Host, "headers": request.Header, "size": len(body), "uid": os.Getuid()})
	}
}

func main() {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(os.Getenv("ONLY") != "http1")
	protocols.SetHTTP1(os.Getenv("ONLY") != "h2c")
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: http.HandlerFunc(serve), Protocols: protocols}
	fmt.Println(server.ListenAndServe())
}
