import { Field, ObjectType } from 'type-graphql';
import { DateTime } from './scalars';

@ObjectType('UsageExport', { simpleResolvers: true, description: 'A file of single calls, made when it is fetched.' })
export class UsageExportType {
  @Field(() => String, {
    description: 'Where to fetch it (GET). Whoever has the link can read the file: keep it secret.',
  })
  url!: string;

  @Field(() => DateTime, { description: 'Until then a download has to begin.' })
  expiresAt!: Date;
}
