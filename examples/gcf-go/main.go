// Functions for Google's Functions Framework: one for HTTP, one for CloudEvents.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"github.com/cloudevents/sdk-go/v2/event"
)

func init() {
	functions.HTTP("Hello", hello)
	functions.CloudEvent("Stored", stored)
}

func hello(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "path": r.URL.Path, "query": r.URL.RawQuery, "bytes": len(body)})
}

func stored(_ context.Context, e event.Event) error {
	var data struct{ Name string }
	if err := e.DataAs(&data); err != nil {
		return err
	}
	fmt.Printf("stored %s by %s (%s)\n", data.Name, e.ID(), e.Type())
	return nil
}

func main() {
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		log.Fatal(err)
	}
}
