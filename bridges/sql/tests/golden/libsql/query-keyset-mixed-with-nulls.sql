SELECT t."id", t."cuisine", t."country", t."rating", t."prepTime", t."views", t."status", t."createdAt", t."born", t."price", t."active", t."lat", t."lng", t."spot" FROM "shop"."facts" t WHERE t."cuisine" >= ? AND ((t."cuisine" > ?) OR (t."cuisine" = ? AND t."createdAt" < ?) OR (t."cuisine" = ? AND t."createdAt" = ? AND t."id" < ?)) ORDER BY t."cuisine", t."createdAt" DESC, t."id" DESC LIMIT ?
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Text("italian") beside Some(Text)
-- 4: Text("2026-01-02T03:04:05.000Z") beside Some(TimestampTz)
-- 5: Text("italian") beside Some(Text)
-- 6: Text("2026-01-02T03:04:05.000Z") beside Some(TimestampTz)
-- 7: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 8: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
