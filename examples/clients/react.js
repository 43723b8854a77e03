import { useCallback, useEffect, useRef, useState } from 'react';
import { streamChat, unfinished } from '../browser-chat/stream-chat.js';

/**
 * One stream of one component: `ask(input)`, `stop()`, and what there is of the answer. A component that goes away leaves the stream, and one that is mounted again
 * within the 30 s of GRACE goes on where it was, as React does at every mount in its strict mode.
 * @param {{ url: string, token: () => string | Promise<string> }} connection Keep its identity: useMemo, or outside of the component.
 */
export function useStreamChat(connection, rememberAs = 'stream-chat') {
  const [answer, setAnswer] = useState(() => ({ text: '', state: 'idle', ended: /** @type {import('../browser-chat/stream-chat.js').Ended | null} */ (null) }));
  const stream = useRef(/** @type {ReturnType<typeof streamChat> | null} */ (null));
  const follow = useCallback(
    (/** @type {Partial<import('../browser-chat/stream-chat.js').Unfinished>} */ what) => {
      // A question asked while an answer runs: nobody looks at that one any more.
      stream.current?.leave();
      const mine = streamChat({
        ...connection,
        ...what,
        rememberAs,
        onText: (text) => setAnswer((now) => ({ ...now, text })),
        onConnection: ({ state }) => setAnswer((now) => ({ ...now, state })),
      });
      stream.current = mine;
      setAnswer({ text: mine.text, state: 'connecting', ended: null });
      mine.ended.then((ended) => stream.current === mine && setAnswer((now) => ({ ...now, state: 'idle', ended })));
    },
    [connection, rememberAs],
  );
  useEffect(() => {
    const saved = unfinished(rememberAs);
    if (saved) follow(saved);
    return () => {
      stream.current?.leave({ remember: true });
      stream.current = null;
    };
  }, [follow, rememberAs]);
  return { ...answer, ask: (/** @type {Record<string, any>} */ input) => follow({ input }), stop: () => stream.current?.stop() };
}
