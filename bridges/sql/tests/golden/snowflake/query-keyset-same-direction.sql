SELECT "id", "cuisine", "country", "rating", "prepTime", "views", "status", "createdAt", "born", "price", "active", "lat", "lng", "spot" FROM "shop"."facts" WHERE "createdAt" <= ? AND (("createdAt" < ?) OR ("createdAt" = ? AND "id" < ?)) ORDER BY "createdAt" DESC, "id" DESC LIMIT 11
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 3: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 4: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- a page of 10; cursor from columns [7, 0], of which 0 hidden
