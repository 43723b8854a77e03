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

function operationType(documentAST, operationName) {
  const operations = (documentAST?.definitions ?? []).filter((node) => node.kind === 'OperationDefinition');
  const chosen = operations.find((node) => node.name?.value === operationName) ?? operations[0];
  return chosen?.operation ?? 'query';
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

async function fetcher(params, options = {}) {
  if (operationType(options.documentAST, params.operationName) === 'subscription') return collected(socket().iterate(params));
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
