SELECT "id", "cuisine", "country", "rating", "prepTime", "views", "status", "createdAt", "born", "price", "active", "lat", "lng", "spot" FROM "shop"."facts" WHERE ((("cuisine" > $1 OR "cuisine" IS NULL)) OR ("cuisine" = $2 AND "createdAt" < $3) OR ("cuisine" = $4 AND "createdAt" = $5 AND "id" < $6)) ORDER BY "cuisine", "createdAt" DESC, "id" DESC LIMIT $7
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 4: Text("italian") beside Some(Text)
-- 5: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 6: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 7: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
