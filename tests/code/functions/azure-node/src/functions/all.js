// What code for Azure Functions may do: an ES module, hooks, outputs, cookies, errors.
import { app, input, output } from '@azure/functions';

app.http('echo', {
  route: 'echo/{name?}', methods: ['POST', 'PUT'],
  handler: async (request, context) => ({
    body: Buffer.from(await request.arrayBuffer()), headers: { 'content-type': request.headers.get('content-type'), 'x-id': context.invocationId,
      'x-name': request.params.name ?? '', 'x-url': new URL(request.url).pathname },
    cookies: [{ name: 'a', value: '1', httpOnly: true, path: '/' }, { name: 'b', value: '2 3', sameSite: 'Lax' }],
  }),
});
app.get('json', async () => ({ jsonBody: { ok: true } }));
app.get('sleep', async () => { await new Promise((resolve) => setTimeout(resolve, 300)); return { body: 'slept' }; });
app.http('fail', {
  route: 'fail/{how}',
  handler: (request) => {
    if (request.params.how === 'none') return undefined;
    if (request.params.how === 'exit') process.exit(9);
    throw new RangeError('no such thing');
  },
});
app.http('queued', {
  extraOutputs: [output.storageQueue({ name: 'message', queueName: 'q', connection: 'C' })],
  handler: (request, context) => { context.extraOutputs.set('message', 'to the queue'); return { body: 'queued' }; },
});
app.http('reads', { extraInputs: [input.storageBlob({ name: 'blob', path: 'a/b', connection: 'C' })], handler: () => ({ body: 'never' }) });
app.storageBlob('copied', {
  path: 'in/{name}', connection: 'C', return: output.storageBlob({ path: 'out/{name}', connection: 'C' }),
  handler: (blob, context) => `${context.triggerMetadata.blobTrigger}:${blob.toString('hex')}`,
});
app.timer('ticks', { schedule: '* * * * * *', handler: (timer) => { if (timer.isPastDue) throw new Error('too late'); console.log('tick'); } });
