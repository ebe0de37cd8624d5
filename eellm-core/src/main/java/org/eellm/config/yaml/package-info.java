/** YAML read strictly into records: an unknown key is an error that suggests the nearest one. */
@NullMarked
package org.eellm.config.yaml;

import org.jspecify.annotations.NullMarked;
