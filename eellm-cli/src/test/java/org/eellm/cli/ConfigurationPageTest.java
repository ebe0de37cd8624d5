package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/**
 * docs/configuration.md says what the records of the configuration say. To write it anew:
 *
 * <pre>{@code mvn -q test -Dtest=ConfigurationPageTest -Ddocs.write=true}</pre>
 */
final class ConfigurationPageTest {
  private static final String COMMAND =
      "mvn -q test -Dtest=ConfigurationPageTest -Ddocs.write=true";

  @Test
  void page_saysWhatTheRecordsSay() throws IOException {
    Path page = RepositoryFiles.root().resolve("docs/configuration.md");
    String expected = ConfigurationPage.render();
    if (Boolean.getBoolean("docs.write")) {
      Files.writeString(page, expected);
    }
    assertThat(page)
        .as(
            "docs/configuration.md differs from the records and defaults.yaml; write it with: "
                + COMMAND)
        .hasContent(expected);
  }
}
