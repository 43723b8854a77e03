export interface GraphqlReply<D> {
  status: number;
  headers: Headers;
  data: D | null;
  errors:
    { message: string; path?: (string | number)[]; extensions: { code: string; [key: string]: unknown } }[] | null;
  /** The body as it came. */
  text: string;
}

/** One GraphQL operation over HTTP, as `fetch` of any application sends it. */
export async function graphql<D = any>(
  url: string,
  token: string | null,
  query: string,
  variables: Record<string, unknown> = {},
  options: { signal?: AbortSignal; headers?: Record<string, string> } = {},
): Promise<GraphqlReply<D>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...options.headers,
    },
    body: JSON.stringify({ query, variables }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const text = await response.text();
  let body: { data?: D; errors?: GraphqlReply<D>['errors'] } = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: `text` has it.
  }
  return {
    status: response.status,
    headers: response.headers,
    data: body.data ?? null,
    errors: body.errors ?? null,
    text,
  };
}
