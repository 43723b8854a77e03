// @ts-check
// The example's page. What it knows of the network is in stream-chat.js; here are only its buttons and texts.
import { memory } from './resuming.js';
import { request, streamChat, unfinished } from './stream-chat.js';

/** @typedef {import('./stream-chat.js').StreamEvent} StreamEvent */

const element = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const { roles = {} } = JSON.parse(element('settings').textContent);
const url = `${location.origin}/graphql`;
let token = '';
const connection = { url, token: () => token };
const ask = (/** @type {string} */ query, /** @type {object} */ variables = {}) => request({ ...connection, query, variables });

/** @type {ReturnType<typeof streamChat> | null} */
let running = null;
/** Between the click and the stream: a new conversation is made first. */
let sending = false;
/** A later choice of the person makes what an earlier one still loads worthless. */
let visit = 0;

// ---- what is shown

function complain(/** @type {unknown} */ problem = '') {
  const text = Array.isArray(problem) ? problem.map(({ message }) => message).join(' ') : problem instanceof Error ? problem.message : String(problem ?? '');
  element('problem').textContent = text;
  element('problem').hidden = !text;
}

function addMessage(/** @type {string} */ role, text = '') {
  const article = document.createElement('article');
  article.className = role.toLowerCase();
  article.append(Object.assign(document.createElement('h3'), { textContent: role === 'USER' ? 'You' : 'Model' }), Object.assign(document.createElement('p'), { textContent: text }), document.createElement('footer'));
  const list = element('messages');
  list.append(article);
  list.scrollTop = list.scrollHeight;
  const [, body, footer] = /** @type {any} */ (article.children);
  return {
    article,
    say(/** @type {string} */ text) {
      const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
      body.textContent = text;
      if (atEnd) list.scrollTop = list.scrollHeight;
    },
    note: (/** @type {string} */ text) => void (footer.textContent = text),
  };
}

const bill = (/** @type {any} */ reply) => (reply ? `${reply.route.servedModel}: ${reply.usage.promptTokens} + ${reply.usage.completionTokens} tokens, ${reply.cost ? `$${reply.cost.total}` : 'no price known'}` : 'nothing spent');

function endOf(/** @type {StreamEvent} */ event) {
  if (event.__typename === 'StreamCompleted') return `Complete. ${bill(event.reply)}`;
  if (event.__typename === 'StreamStopped') return `Stopped (${event.reason.toLowerCase()}). ${bill(event.reply)}`;
  if (event.__typename === 'StreamFailed') return `Failed: ${event.refusal.message} ${bill(event.partial)}`;
  return `Refused: ${event.refusal.message} Nothing was spent.`;
}

function showConnection(/** @type {import('./resuming.js').Connection | { state: 'idle', retryInMs?: number }} */ { state, retryInMs = 0 }) {
  element('connection').dataset.state = state;
  element('connection').textContent = state === 'waiting' ? `no connection: next attempt in ${(retryInMs / 1_000).toFixed(1)} s` : state === 'connecting' ? 'connecting…' : state;
}

function showButtons() {
  element('send').disabled = sending || running !== null;
  element('stop').disabled = running === null;
}

// ---- streams

/** Shows a stream from its beginning or from where it was, until it ends or another one is looked at. @param {Partial<import('./stream-chat.js').Unfinished>} what */
async function follow(what) {
  const { article, say, note } = addMessage('ASSISTANT', what.text);
  article.setAttribute('aria-busy', 'true');
  const stream = streamChat({
    ...connection,
    ...what,
    onText: say,
    onEvent(event) {
      if (event.__typename === 'StreamProgress') note(`${event.completionTokens} tokens so far${event.estimatedCost ? `, about $${event.estimatedCost}` : ''}`);
      // Asked before a reload that came before this event, and answered meanwhile: the conversation has shown it.
      if (event.__typename === 'StreamStarted' && document.querySelector(`[data-call="${event.callId}"]`)) {
        stream.leave();
        article.remove();
      }
    },
    onConnection: showConnection,
  });
  running = stream;
  showButtons();
  const ended = await stream.ended;
  article.removeAttribute('aria-busy');
  if (running !== stream) return;
  running = null;
  showButtons();
  showConnection({ state: 'idle' });
  if (ended.kind === 'event') note(endOf(ended.event));
  else if (ended.kind === 'stored') {
    if (ended.answer) say(ended.answer.content ?? '');
    note(ended.answer ? 'The stream is not kept any more: this is the answer as the conversation has it.' : 'The stream is not kept any more, and no conversation has its answer.');
  } else if (ended.kind === 'failed') {
    note('The connection could not be had again. Reload the page to go on.');
    complain(ended.error);
  }
  article.dataset.ended = ended.kind === 'event' ? ended.event.__typename : ended.kind;
  await listConversations();
}

function leave() {
  running?.leave();
  running = null;
  showButtons();
  showConnection({ state: 'idle' });
}

// ---- conversations

const LISTS = `query Lists {
  conversations(first: 20) { edges { node { id title } } }
  activeStreams { streamId call { id model conversation { id } } }
}`;

async function listConversations() {
  const now = visit;
  const { conversations, activeStreams } = await ask(LISTS);
  if (now !== visit) return activeStreams;
  const current = location.hash.slice(1);
  element('conversations').replaceChildren(
    ...conversations.edges.map((/** @type {any} */ { node }) => {
      const isRunning = activeStreams.some((/** @type {any} */ { call }) => call.conversation?.id === node.id);
      const item = document.createElement('li');
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: `${isRunning ? '● ' : ''}${node.title ?? 'untitled'}`, title: isRunning ? 'An answer is running' : '' });
      button.setAttribute('aria-current', String(node.id === current));
      button.addEventListener('click', () => openConversation(node.id).catch(complain));
      item.append(button);
      return item;
    }),
  );
  return activeStreams;
}

const CONVERSATION = `query Conversation($id: ID!, $after: String) {
  conversation(id: $id) { id messages(first: 100, after: $after) { edges { node { id role content complete call { id cost { total } usage { promptTokens completionTokens } } } } pageInfo { hasNextPage endCursor } } }
}`;

/** Shows what is stored of a conversation, and goes on with an answer that runs: one that this tab was reading before it was reloaded, or that was asked elsewhere. @param {string} id */
async function openConversation(id) {
  const now = (visit += 1);
  const saved = unfinished();
  leave();
  complain();
  history.replaceState(null, '', id ? `#${id}` : location.pathname);
  element('messages').replaceChildren();
  const active = await listConversations();
  const messages = [];
  for (let after = null; id; ) {
    const { conversation } = await ask(CONVERSATION, { id, after });
    messages.push(...(conversation?.messages.edges ?? []));
    if (!conversation?.messages.pageInfo.hasNextPage) break;
    after = conversation.messages.pageInfo.endCursor;
  }
  if (now !== visit || !id) return;
  const mine = saved?.input?.conversationId === id ? saved : null;
  const here = active.find((/** @type {any} */ { call }) => call.conversation?.id === id);
  // What ended while nobody looked is in the conversation: there is nothing to go on with.
  const isStored = messages.some(({ node }) => node.role === 'ASSISTANT' && node.call && node.call.id === mine?.position?.callId);
  for (const { node } of messages) {
    const { article, note } = addMessage(node.role, node.content ?? '');
    if (node.role !== 'ASSISTANT') continue;
    article.dataset.call = node.call?.id ?? '';
    note(`${node.complete ? 'Complete.' : 'Cut short.'} ${node.call ? `${node.call.usage.promptTokens} + ${node.call.usage.completionTokens} tokens, ${node.call.cost ? `$${node.call.cost.total}` : 'no price known'}` : ''}`);
  }
  if (mine && !isStored) {
    const question = mine.input.messages?.at(-1)?.content ?? '';
    if (question && !messages.some(({ node }) => node.role === 'USER' && node.content === question)) addMessage('USER', question);
    follow(mine).catch(complain);
  } else if (here) {
    follow({ input: { conversationId: id, messages: [] }, position: { streamId: here.streamId, callId: here.call.id, conversationId: id, seq: 0 } }).catch(complain);
  }
}

async function send(/** @type {string} */ question) {
  complain();
  const now = visit;
  let stream;
  sending = true;
  showButtons();
  try {
    let conversationId = location.hash.slice(1);
    if (!conversationId) {
      const { createConversation } = await ask('mutation New($title: String!) { createConversation(input: { title: $title }) { id } }', { title: question.slice(0, 60) });
      if (now !== visit) return;
      conversationId = createConversation.id;
      history.replaceState(null, '', `#${conversationId}`);
    }
    addMessage('USER', question);
    element('question').value = '';
    stream = follow({ input: { conversationId, model: element('model').value, onDisconnect: element('policy').value, progress: true, messages: [{ role: 'USER', content: question }] } });
  } finally {
    sending = false;
    showButtons();
  }
  await Promise.all([stream, listConversations()]);
}

// ---- who asks

async function use(/** @type {string} */ next) {
  token = next.trim();
  leave();
  element('model').replaceChildren();
  if (!token) return complain('Choose a role or enter a token.');
  const { models, viewer } = await ask('{ models { items { id label mode } } viewer { plan { defaultModel } } }');
  for (const { id, label, mode } of models.items) if (mode === 'CHAT') element('model').append(new Option(label, id, false, id === viewer.plan.defaultModel));
  await openConversation(location.hash.slice(1));
}

for (const role of Object.keys(roles)) element('role').append(new Option(role, role));
element('role').append(new Option('own token', ''));
for (const changed of ['role', 'token']) {
  element(changed).addEventListener('change', () => {
    if (changed === 'role') element('token').value = roles[element('role').value] ?? '';
    else element('role').value = '';
    history.replaceState(null, '', location.pathname);
    use(element('token').value).catch(complain);
  });
}
element('new').addEventListener('click', () => openConversation('').then(() => element('question').focus()).catch(complain));
element('stop').addEventListener('click', () => running?.stop().catch(complain));
element('ask').addEventListener('submit', (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const question = element('question').value.trim();
  if (question && !running && !sending) send(question).catch(complain);
});
element('question').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element('ask').requestSubmit();
  }
});

// A reload finds the same person: what the tab has to go on with is theirs.
const person = memory('example-person');
const { role, ownToken = '' } = person.read() ?? {};
element('role').value = role ?? ('pro' in roles ? 'pro' : (Object.keys(roles)[0] ?? ''));
element('token').value = roles[element('role').value] ?? ownToken;
addEventListener('pagehide', () => void person.put({ role: element('role').value, ownToken: element('role').value ? '' : element('token').value }));
const last = unfinished()?.input.conversationId;
if (!location.hash && last) history.replaceState(null, '', `#${last}`);
use(element('token').value).catch(complain);
