/** JSON bodies of requests, read strictly. */
@NullMarked
package org.eellm.serve.json;

import org.jspecify.annotations.NullMarked;
