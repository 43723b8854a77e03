import net from 'node:net';

/** The floor of a stream: bytes come in and go out, and nobody looks at them. Arguments: port, upstream port. */
const [port, upstreamPort] = process.argv.slice(2).map(Number) as [number, number];

net
  .createServer((inner) => {
    const outer = net.connect(upstreamPort, '127.0.0.1');
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      from.setNoDelay(true).on('error', () => to.destroy());
      from.pipe(to);
    }
  })
  .listen(port, '127.0.0.1');
