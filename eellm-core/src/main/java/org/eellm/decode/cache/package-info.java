/**
 * Pages of keys and values, shared prefixes, and the frontier of positions that each layer has
 * completed.
 */
@NullMarked
package org.eellm.decode.cache;

import org.jspecify.annotations.NullMarked;
