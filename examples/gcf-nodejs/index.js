// Functions for Google's Functions Framework: one for HTTP, one for CloudEvents.
const functions = require('@google-cloud/functions-framework');
functions.http('hello', (request, response) => {
  response.json({method: request.method, path: request.path, query: request.originalUrl.split('?')[1] || '', bytes: (request.rawBody || '').length});
});
functions.cloudEvent('stored', (event) => {
  console.log(`stored ${event.data.name} by ${event.id} (${event.type})`);
});
