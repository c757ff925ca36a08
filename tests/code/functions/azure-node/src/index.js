import { app } from '@azure/functions';

app.hook.preInvocation((context) => { context.hookData.began = true; });
app.hook.postInvocation((context) => {
  if (context.hookData.began && context.result?.jsonBody) context.result.headers = { 'x-hook': 'both' };
});
