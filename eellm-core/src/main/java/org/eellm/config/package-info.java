/** Records for every section of the YAML configuration, with strict binding and validation. */
@NullMarked
package org.eellm.config;

import org.jspecify.annotations.NullMarked;
