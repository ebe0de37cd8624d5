// Asks a server through OpenAI's own client; prints what it understood as JSON.
import OpenAI from 'openai';

const [base, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 0 });
const full = { early_exit: { mode: 'full' }, temperature: 0, model };
const said = {};

said.models = [];
for await (const listed of client.models.list()) {
  said.models.push(listed.id);
}
said.retrieved = (await client.models.retrieve(model)).id;

const completion = await client.completions.create({ ...full, prompt: 'the cat', max_tokens: 12, logprobs: 2 });
said.completion = completion.choices[0].text;
said.completionTokens = completion.usage.completion_tokens;
said.logprobs = completion.choices[0].logprobs.token_logprobs.length;
said.meanLayer = completion.metrics.early_exit.mean_layer;

said.completionStream = '';
for await (const part of await client.completions.create({
  ...full, prompt: 'the cat', max_tokens: 12, stream: true, stream_options: { include_usage: true },
})) {
  said.completionStream += part.choices[0]?.text ?? '';
  said.streamedTokens = part.usage?.completion_tokens;
}

const messages = [{ role: 'user', content: 'the cat' }];
const chat = await client.chat.completions.create({ ...full, messages, max_completion_tokens: 6 });
said.chat = chat.choices[0].message.content;
said.role = chat.choices[0].message.role;

const stream = client.chat.completions.stream({ ...full, messages, max_completion_tokens: 6 });
said.chatStream = await stream.finalContent();

// Goes away amid a stream.
const left = await client.completions.create({ ...full, prompt: 'the', max_tokens: 90, stream: true });
for await (const part of left) {
  left.controller.abort();
  break;
}

async function refusal(call) {
  try {
    await call();
    return 'none';
  } catch (error) {
    return { name: error.constructor.name, status: error.status, param: error.param, code: error.code };
  }
}
said.badField = await refusal(() => client.completions.create({ ...full, prompt: 'a', temperature: 3 }));
said.unknownModel = await refusal(() => client.completions.create({ ...full, model: 'gpt-4', prompt: 'a' }));
said.tooLong = await refusal(() => client.completions.create({ ...full, prompt: 'the cat '.repeat(1e5) }));
said.badStream = await refusal(() => client.chat.completions.create({ ...full, messages: [], stream: true }));

// Without a format the client asks for base64, and decodes it.
const embedded = await client.embeddings.create({ model, input: ['the cat', 'the dog'] });
said.embedding = embedded.data.map(({ embedding }) => embedding);
const floats = await client.embeddings.create({ model, input: 'the cat', encoding_format: 'float' });
said.floats = floats.data[0].embedding;

try {
  await client.responses.create({ model, input: 'the cat' });
} catch (error) {
  said.responses = { status: error.status, requestID: error.requestID, message: error.message };
}

console.log(JSON.stringify(said));
