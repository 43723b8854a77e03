import diagnostics from 'node:diagnostics_channel';

interface Created {
  request: { origin?: string | URL; path: string };
}

/**
 * The paths that this process asks of an origin from now on, without their queries: what the product really sends to
 * the proxy.
 */
export function watchRequests(origin: string): { paths: string[]; count(path: string): number; stop(): void } {
  const paths: string[] = [];
  const onCreate = (message: unknown): void => {
    const { request } = message as Created;
    if (String(request.origin) === origin) paths.push(request.path.split('?')[0]!);
  };
  diagnostics.subscribe('undici:request:create', onCreate);
  return {
    paths,
    count: (path) => paths.filter((seen) => seen === path).length,
    stop: () => diagnostics.unsubscribe('undici:request:create', onCreate),
  };
}
