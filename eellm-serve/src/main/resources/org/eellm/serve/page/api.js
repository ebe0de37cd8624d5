// Talks to the server, and says in plain words what went wrong.

const KEY = 'eellm-api-key';

let key = sessionStorage.getItem(KEY) ?? '';

/** What the server refuses, or that it is not there. */
export class Refusal extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function setKey(value) {
  key = value.trim();
  sessionStorage.setItem(KEY, key);
}

export const savedKey = () => key;

async function refusal(response) {
  if (response.status === 401) {
    return new Refusal(
      key ? 'the server does not take this API key; type it again' : 'this server wants its API key; type it above',
      401);
  }
  try {
    const { error } = await response.json();
    return new Refusal(error.message, response.status, error.code);
  } catch {
    return new Refusal(`the server answers with status ${response.status}`, response.status);
  }
}

async function ask(path, body, signal) {
  if (!/^[\x21-\x7e]*$/.test(key)) {
    throw new Refusal('the API key has a character that no key has; type it again', 401);
  }
  let response;
  try {
    response = await fetch(path, {
      ...(body ? { method: 'POST', body: JSON.stringify(body) } : {}),
      headers: {
        'Content-Type': 'application/json',
        ...(key ? { Authorization: `Bearer ${key}` } : {}),
      },
      signal,
    });
  } catch (error) {
    if (error.name === 'AbortError') {
      throw error;
    }
    throw new Refusal(`nobody answers at ${location.host}; is eellm serve still running?`, 0);
  }
  if (!response.ok) {
    throw await refusal(response);
  }
  return response;
}

export const getJson = async (path, signal) => (await ask(path, null, signal)).json();
export const getText = async (path, signal) => (await ask(path, null, signal)).text();
export const postJson = async (path, body, signal) => (await ask(path, body, signal)).json();

/** The parts of a streamed answer. */
export async function* stream(path, body, signal) {
  const response = await ask(path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  while (true) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === 'AbortError') {
        throw error;
      }
      break;
    }
    if (read.done) {
      break;
    }
    const events = (rest + read.value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      if (event === 'data: [DONE]') {
        return;
      }
      if (event.startsWith('data: ')) {
        const part = JSON.parse(event.slice(6));
        if (part.error) {
          throw new Refusal(part.error.message, 0, part.error.code);
        }
        yield part;
      }
    }
  }
  throw new Refusal('the server closed the connection before the text had ended', 0);
}
