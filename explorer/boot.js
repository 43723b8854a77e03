// The explorer's page: GraphiQL with a token, and subscriptions over graphql-ws. No part of it comes from another server.
import { createClient } from './graphql-ws/client.js';

/* global React, ReactDOM, GraphiQL */
const { roles, tabs } = JSON.parse(document.getElementById('settings').textContent);
const endpoint = `${location.origin}/graphql`;
const select = document.getElementById('role');
const field = document.getElementById('token');
const state = document.getElementById('state');

let token = '';
let client = null;

for (const role of Object.keys(roles)) select.append(new Option(role, role));
select.append(new Option('own token', ''));
select.hidden = Object.keys(roles).length === 0;

/** One connection per token; made when the first subscription needs it. */
function socket() {
  client ??= createClient({
    url: endpoint.replace(/^http/, 'ws'),
    connectionParams: { authorization: `Bearer ${token}` },
    // What a person started, a person repeats.
    retryAttempts: 0,
  });
  return client;
}

/** The operations of a document: what stands outside of its braces, strings and comments. */
function operationsOf(query) {
  const operations = [];
  let depth = 0;
  let current = null;
  let before = '';
  for (const [token] of query.matchAll(/"""(?:\\"""|[^])*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*|[{}()]|[@$]?\w+/g)) {
    if (token[0] === '#') continue;
    if (token === '{' && depth === 0) current ??= { type: 'query' };
    if (token === '{' || token === '(') depth += 1;
    else if (token === '}' || token === ')') {
      depth -= 1;
      if (depth === 0 && token === '}' && current) {
        if (current.type !== 'fragment') operations.push(current);
        current = null;
      }
    } else if (depth === 0) {
      if (!current) current = { type: token };
      else if (before === current.type && /^\w/.test(token)) current.name ??= token;
    }
    before = token;
  }
  return operations;
}

/** GraphiQL looks at a new text a tenth of a second later: until then it gives the operation's name of the tab before. */
function chosenOperation({ query, operationName }) {
  const operations = operationsOf(query);
  return operations.find(({ name }) => name !== undefined && name === operationName) ?? operations[0] ?? { type: 'query' };
}

/** GraphiQL shows the newest event only: what has come so far is added, outside of the answer proper. */
async function* collected(results) {
  let events = 0;
  let text = '';
  for await (const result of results) {
    events += 1;
    const event = Object.values(result.data ?? {})[0];
    if (event?.__typename === 'TextDelta' && typeof event.text === 'string') text += event.text;
    yield text ? { ...result, extensions: { ...result.extensions, explorer: { events, text } } } : result;
  }
}

async function fetcher(asked, options = {}) {
  const { type, name } = chosenOperation(asked);
  const params = { ...asked, operationName: name };
  if (type === 'subscription') return collected(socket().iterate(params));
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}), ...options.headers },
    body: JSON.stringify(params),
  });
  state.textContent = response.status === 401 ? 'This token is not valid.' : '';
  return response.json();
}

const root = ReactDOM.createRoot(document.getElementById('graphiql'));
function render() {
  root.render(
    React.createElement(GraphiQL, {
      // Another token may see another schema: everything begins anew, the tabs are kept by the browser.
      key: token,
      fetcher,
      defaultTabs: tabs,
      defaultEditorToolsVisibility: 'variables',
      shouldPersistHeaders: false,
    }),
  );
}

function use(next) {
  token = next.trim();
  void client?.dispose();
  client = null;
  render();
}

select.addEventListener('change', () => {
  field.value = roles[select.value] ?? '';
  if (!select.value) field.focus();
  use(field.value);
});
field.addEventListener('change', () => {
  select.value = Object.keys(roles).find((role) => roles[role] === field.value.trim()) ?? '';
  use(field.value);
});

select.value = 'pro' in roles ? 'pro' : (Object.keys(roles)[0] ?? '');
field.value = roles[select.value] ?? '';
use(field.value);
