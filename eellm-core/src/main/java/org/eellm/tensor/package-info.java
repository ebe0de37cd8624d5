/**
 * The seam to libtorch: start-up of natives, scopes, dtypes, devices, and the operations that need
 * special care. The only package that knows JavaCPP's pitfalls.
 */
@NullMarked
package org.eellm.tensor;

import org.jspecify.annotations.NullMarked;
