// An app of Azure Functions in Node's v4 programming model, as `func init --javascript` begins one.
const { app, output } = require('@azure/functions');

app.http('order', {
  route: 'orders/{id:int}', methods: ['GET', 'POST'], authLevel: 'anonymous',
  handler: async (request, context) => {
    const lines = request.method === 'POST' ? await request.json() : [];
    const total = lines.reduce((sum, line) => sum + line.price * (line.count ?? 1), 0);
    context.log(`order ${request.params.id}: ${total}`);
    return { status: 201, headers: { 'X-Order': request.params.id },
             jsonBody: { order: request.params.id, total, query: Object.fromEntries(request.query) } };
  },
});

const receipts = output.storageQueue({ queueName: 'receipts', connection: 'AzureWebJobsStorage' });

app.storageQueue('paid', {
  queueName: 'paid', connection: 'AzureWebJobsStorage', extraOutputs: [receipts],
  handler: (message, context) => {
    context.extraOutputs.set(receipts, `${context.functionName}: ${JSON.stringify(message)}, try ${context.triggerMetadata.dequeueCount}`);
  },
});

app.timer('nightly', {
  schedule: '0 0 3 * * *',
  handler: (timer, context) => context.log(`nightly, past due: ${timer.isPastDue}`),
});
