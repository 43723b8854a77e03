import type { Upstream } from './call';

export type ComponentState = 'UP' | 'DEGRADED' | 'DOWN' | 'OFF';
export interface ComponentStatus {
  state: ComponentState;
  since: Date;
  detail: string | null;
}

export interface ServiceStatus {
  version: string;
  upstream: Upstream;
  database: ComponentStatus;
  proxy: ComponentStatus;
  /** How far the rollups are behind; reports are exact all the same. */
  cubes: ComponentStatus;
  /** What replicas share the events of streams by. */
  streamLog: ComponentStatus;
}
