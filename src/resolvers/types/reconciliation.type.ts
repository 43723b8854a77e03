import { Field, ObjectType } from 'type-graphql';
import type { DifferenceKind } from '../../services/reconciliation/reconciliation.types';
import { DifferenceKindEnum } from './enums';
import { PageInfoType } from './node.type';
import { DateTime, DecimalScalar, SafeInt } from './scalars';

@ObjectType('ReconciliationSummary', {
  simpleResolvers: true,
  description: 'The whole span, as far as it was compared, whichever page is shown.',
})
export class ReconciliationSummaryType {
  @Field(() => SafeInt, { description: 'Calls of ours that were compared.' })
  comparedCalls!: number;

  @Field(() => SafeInt, { description: 'All edges of the list.' })
  differences!: number;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars: what these calls cost here, by the price book of today; null: none has a cost.',
  })
  ourCost!: string | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description:
      "Dollars: what the proxy's records of them say, and of the calls that are missing here; null: none has a cost.",
  })
  proxyCost!: string | null;

  @Field(() => DateTime, {
    description:
      'Everything before this time was compared. Earlier than `to`: the span is too busy for one question, or its end is too young; ask again from here.',
  })
  comparedUpTo!: Date;
}

@ObjectType('ReconciliationDifference', {
  simpleResolvers: true,
  description: "A call on which our figures and the proxy's differ.",
})
export class ReconciliationDifferenceType {
  @Field(() => DifferenceKindEnum, { description: 'What differs.' })
  kind!: DifferenceKind;

  @Field(() => String, { nullable: true, description: "The proxy's own id of its record; null: it has none." })
  proxyRequestId!: string | null;

  @Field(() => SafeInt, {
    nullable: true,
    description: 'All tokens of the call here. Of a call that was corrected by reconciliation: what stood before.',
  })
  ourTokens!: number | null;

  @Field(() => SafeInt, { nullable: true, description: "All tokens of the proxy's record." })
  proxyTokens!: number | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars, by the price book of today; null: no price is known, or there is no such call here.',
  })
  ourCost!: string | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars, as the proxy computed them; null: it knows no price, or has no record.',
  })
  proxyCost!: string | null;

  @Field(() => String, { description: 'Why, and what happens or can be done: a sentence for people.' })
  resolution!: string;
}

@ObjectType('ReconciliationEdge', { simpleResolvers: true, description: 'A difference in its place in the list.' })
export class ReconciliationEdge {
  @Field(() => ReconciliationDifferenceType, { description: 'The difference.' })
  node!: ReconciliationDifferenceType;

  @Field(() => String, { description: 'Names this place, also on later pages.' })
  cursor!: string;
}

@ObjectType('ReconciliationConnection', {
  simpleResolvers: true,
  description: 'A page of differences, and what was compared.',
})
export class ReconciliationConnection {
  @Field(() => [ReconciliationEdge], { description: 'In the order of time.' })
  edges!: ReconciliationEdge[];

  @Field(() => PageInfoType, { description: 'Whether there is more, and where it begins.' })
  pageInfo!: PageInfoType;

  @Field(() => ReconciliationSummaryType, { description: 'The whole span, whichever page this is.' })
  summary!: ReconciliationSummaryType;
}
