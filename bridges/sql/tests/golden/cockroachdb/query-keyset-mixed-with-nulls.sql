SELECT "id", "cuisine", "country", "rating", "prepTime", "views", "status", "createdAt", "born", "price", "active", "lat", "lng", "spot" FROM "shop"."facts" WHERE "cuisine" >= $1 AND (("cuisine" > $2) OR ("cuisine" = $3 AND "createdAt" < $4) OR ("cuisine" = $5 AND "createdAt" = $6 AND "id" < $7)) ORDER BY "cuisine", "createdAt" DESC, "id" DESC LIMIT $8
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Text("italian") beside Some(Text)
-- 4: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 5: Text("italian") beside Some(Text)
-- 6: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 7: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 8: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
