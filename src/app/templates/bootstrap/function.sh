# The event comes on standard input, the answer goes to standard output, words for the log to standard error.
answer() {
  echo "an event of $(wc -c </tmp/event) bytes" >&2
  printf '{"you sent": %s}\n' "$(cat)"
}
