SELECT t."id", t."cuisine", t."country", t."rating", t."prepTime", t."views", t."status", t."createdAt", t."born", t."price", t."active", t."lat", t."lng", t."spot" FROM "shop"."facts" t WHERE t."cuisine" >= $1 AND ((t."cuisine" > $2) OR (t."cuisine" = $3 AND t."createdAt" < $4) OR (t."cuisine" = $5 AND t."createdAt" = $6 AND t."id" < $7)) ORDER BY t."cuisine", t."createdAt" DESC, t."id" DESC LIMIT $8
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Text("italian") beside Some(Text)
-- 4: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 5: Text("italian") beside Some(Text)
-- 6: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 7: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 8: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
