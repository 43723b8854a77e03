/** What the doors need of the configuration (src/config.ts). */
export interface ServerConfig {
  env: 'development' | 'production' | 'test';
  host: string;
  port: number;
  /** Allowed browser origins; `*` for all; empty: none but our own. */
  corsOrigins: string[];
  trustedProxies: string[];
  /** Where clients reach this server, without a slash at the end; null: as the request says. */
  publicUrl: string | null;
  /** Bytes. */
  maxBodyBytes: number;
  explorer: boolean;
  /** File with the demonstration tokens, read by the explorer in development. */
  demoFile: string | null;
}
