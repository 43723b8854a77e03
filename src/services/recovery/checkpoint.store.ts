import type { Db } from '../../database/pool';
import { storableJson } from '../../lib/storable';
import type { KeptPiece } from '../streams/kept-pieces';

export interface NewCheckpoint {
  organizationId: string;
  callId: string;
  /** 1, 2, 3 … for each call. */
  number: number;
  content: string;
  reasoning: string;
  tools: string;
  /** The numbers of `pieces`; where no piece is complete, `lastSeq` is one less. */
  firstSeq: number;
  lastSeq: number;
  pieces: KeptPiece[];
  /** Of the whole stream until here. */
  completionTokens: number;
  servedModel: string | null;
  deployment: string | null;
}

/** Written twice, a checkpoint is there once. One of a call that has ended is not written: nobody would remove it. */
const WRITE = `
  INSERT INTO call_checkpoints (organization_id, call_id, number, content, reasoning, tools, first_seq, last_seq, pieces, completion_tokens, served_model, deployment)
  SELECT c.organization_id, c.call_id, c.number, c.content, c.reasoning, c.tools, c.first_seq, c.last_seq, c.pieces::json, c.completion_tokens, c.served_model, c.deployment
  FROM json_to_recordset($1::json) AS c(organization_id text, call_id text, number integer, content text, reasoning text, tools text, first_seq integer, last_seq integer, pieces text, completion_tokens integer, served_model text, deployment text)
  WHERE EXISTS (SELECT FROM calls_in_flight AS f WHERE f.organization_id = c.organization_id AND f.id = c.call_id)
  ORDER BY c.call_id, c.number
  ON CONFLICT (organization_id, call_id, number) DO NOTHING`;

export class CheckpointStore {
  constructor(private readonly db: Db) {}

  /** All of them in one statement. Harmless to repeat. */
  async write(checkpoints: readonly NewCheckpoint[]): Promise<void> {
    const rows = checkpoints.map((one) => ({
      organization_id: one.organizationId,
      call_id: one.callId,
      number: one.number,
      content: one.content,
      reasoning: one.reasoning,
      tools: one.tools,
      first_seq: one.firstSeq,
      last_seq: one.lastSeq,
      pieces: JSON.stringify(one.pieces),
      completion_tokens: one.completionTokens,
      served_model: one.servedModel,
      deployment: one.deployment,
    }));
    await this.db.hot('checkpoints-write', WRITE, [storableJson(rows)]);
  }
}
