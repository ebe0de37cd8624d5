/**
 * Many ranks as one program. A rank's {@link org.eellm.distributed.World} is put together here from
 * the packages below, each of which may import those that follow it: {@code message}, {@code
 * collective}, {@code memory}, {@code rendezvous}, {@code launch} and {@code mesh}.
 */
@NullMarked
package org.eellm.distributed;

import org.jspecify.annotations.NullMarked;
