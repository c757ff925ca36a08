// Bindings of Azure Storage as Node's v4 model has them: extra inputs and outputs, and what is returned.
import { app, input, output } from '@azure/functions';

const connection = 'AzureWebJobsStorage';
const source = input.storageBlob({ path: 'inbox/{name}', connection });
const bytes = input.storageBlob({ path: 'inbox/{name}', connection, dataType: 'binary' });
const target = output.storageBlob({ path: 'outbox/{name}.copy', connection });
const messages = output.storageQueue({ queueName: '%QUEUE%', connection });
const settled = output.storageQueue({ queueName: 'settled', connection });

app.http('copy', {
  route: 'copy/{name}', methods: ['GET', 'HEAD'], extraInputs: [bytes], extraOutputs: [target, messages],
  handler: (request, context) => {
    const content = context.extraInputs.get(bytes);
    if (content === undefined) return { status: 404, body: 'not there' };
    context.extraOutputs.set(target, content);
    context.extraOutputs.set(messages, [`copied ${request.params.name}`, { size: content.length }]);
    return { body: content, headers: { 'x-size': String(content.length) }, cookies: [{ name: 'a', value: '1' }, { name: 'b', value: '2' }] };
  },
});
app.http('seen', {
  route: 'seen/{name}', extraInputs: [source],
  handler: (request, context) => {
    const content = context.extraInputs.get(source);
    return { jsonBody: { kind: Buffer.isBuffer(content) ? 'buffer' : typeof content, content: content ?? null } };
  },
});
app.storageQueue('paid', {
  queueName: 'paid', connection, extraInputs: [source], return: settled,
  handler: (message, context) => `${message.name}: ${context.extraInputs.get(source).total}`,
});
app.storageBlob('copied', {
  path: 'inbox/{name}.{ext}', connection, return: output.storageBlob({ path: 'outbox/{name}-{ext}', connection }),
  handler: (blob, context) => {
    const { blobTrigger, name, properties, metadata } = context.triggerMetadata;
    return Buffer.concat([Buffer.from(JSON.stringify({ blobTrigger, name, length: properties.contentLength, metadata }) + '\n'), blob]);
  },
});
