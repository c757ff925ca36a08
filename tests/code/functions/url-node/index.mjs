// The same in Node.js, and streams.
export const handler = async (event) => {
  if (event.rawPath === "/throw") throw new Error("a secret of the function");
  const bytes = event.isBase64Encoded ? Buffer.from(event.body, "base64") : Buffer.from(event.body ?? "");
  return { statusCode: 201, headers: { "Content-Type": "application/octet-stream", "X-Method": event.requestContext.http.method },
           cookies: ["a=1; Path=/", "b=2"], body: bytes.reverse().toString("base64"), isBase64Encoded: true };
};

export const stream = awslambda.streamifyResponse(async (event, out) => {
  const http = awslambda.HttpResponseStream.from(out, { statusCode: 202, headers: { "X-Of": "prelude" }, cookies: ["c=3"] });
  http.write("in ");
  http.end("parts");
});

export const slow = awslambda.streamifyResponse(async (event, stream) => {
  const out = awslambda.HttpResponseStream.from(stream, { statusCode: 200, headers: { "Content-Type": "text/plain" } });
  out.write("first\n");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  if (event.rawPath === "/fail") throw new Error("in the middle");
  out.write("second\n");
  out.end();
});
