SELECT "id", "cuisine", "country", "rating", "prepTime", "views", "status", "createdAt", "born", "price", "active", "lat", "lng", "spot" FROM "shop"."facts" ORDER BY "id" LIMIT ?
-- 1: Integer(3) beside None
-- a page of 2; cursor from columns [0], of which 0 hidden
