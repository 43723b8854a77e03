import type { Upstream } from '../domain/call';
import type { ComponentState, ComponentStatus, ServiceStatus } from '../domain/status';
import { inTime, LATE } from '../lib/timeout';

/** What a check found; `detail` is for the operator, and holds no secret and no address. */
export interface CheckResult {
  state: ComponentState;
  detail: string | null;
}
type Check = () => Promise<CheckResult>;

/** Remembers since when a component has been in its state, and asks again at most every `maxAgeMs`. */
class Component {
  private current: ComponentStatus | null = null;
  private checkedAt = 0;
  private running: Promise<ComponentStatus> | null = null;

  constructor(
    private readonly check: Check,
    private readonly maxAgeMs: number,
    private readonly timeoutMs: number,
  ) {}

  async status(): Promise<ComponentStatus> {
    if (this.current && performance.now() - this.checkedAt < this.maxAgeMs) return this.current;
    this.running ??= this.ask().finally(() => (this.running = null));
    return this.running;
  }

  private async ask(): Promise<ComponentStatus> {
    const asked = this.check().catch((): CheckResult => ({ state: 'DOWN', detail: 'cannot be reached' }));
    const answer = await inTime(asked, this.timeoutMs);
    const result: CheckResult =
      answer === LATE ? { state: 'DOWN', detail: `no answer within ${this.timeoutMs} ms` } : answer;
    const since = this.current?.state === result.state ? this.current.since : new Date();
    this.current = { ...result, since };
    this.checkedAt = performance.now();
    return this.current;
  }
}

/** Health of the two things that the server cannot do without, and of two that it does more with. */
export class StatusService {
  private readonly database: Component;
  private readonly proxy: Component;
  private readonly cubes: Component;
  private readonly streamLog: Component;

  constructor(
    private readonly deps: {
      version: string;
      upstream: Upstream;
      checkDatabase: Check;
      checkProxy: Check;
      checkCubes: Check;
      checkStreamLog: Check;
    },
  ) {
    this.database = new Component(deps.checkDatabase, 500, 2_000);
    this.proxy = new Component(deps.checkProxy, 2_000, 3_000);
    this.cubes = new Component(deps.checkCubes, 1_000, 2_000);
    // Known at any time: nothing is asked.
    this.streamLog = new Component(deps.checkStreamLog, 0, 1_000);
  }

  async status(): Promise<ServiceStatus> {
    const [database, proxy, cubes, streamLog] = await Promise.all([
      this.database.status(),
      this.proxy.status(),
      this.cubes.status(),
      this.streamLog.status(),
    ]);
    return { version: this.deps.version, upstream: this.deps.upstream, database, proxy, cubes, streamLog };
  }

  /**
   * For `/health/ready`: whether new calls can be served now. Without the streams' log they can: taking every replica
   * out at once because of it would end what goes on.
   */
  async readiness(): Promise<{
    ready: boolean;
    database: ComponentStatus;
    upstream: ComponentStatus;
    streamLog: ComponentStatus;
  }> {
    const [database, proxy, streamLog] = await Promise.all([
      this.database.status(),
      this.proxy.status(),
      this.streamLog.status(),
    ]);
    return { ready: database.state === 'UP' && proxy.state !== 'DOWN', database, upstream: proxy, streamLog };
  }
}
