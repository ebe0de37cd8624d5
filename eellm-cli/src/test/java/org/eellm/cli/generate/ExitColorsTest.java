package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.eellm.config.HeadId;
import org.junit.jupiter.api.Test;
import picocli.CommandLine.Help.Ansi;

final class ExitColorsTest {
  private final ExitColors colors = new ExitColors(List.of(2, 4), Ansi.ON);

  @Test
  void paint_exits_haveDifferentColoursAndTheFinalHeadNone() {
    assertThat(colors.paint("cat", HeadId.exit(2)))
        .startsWith("\u001b[38;5;")
        .contains("mcat\u001b[");
    assertThat(colors.paint("cat", HeadId.exit(2)))
        .isNotEqualTo(colors.paint("cat", HeadId.exit(4)));
    assertThat(colors.paint("cat", HeadId.FINAL)).isEqualTo("cat");
  }

  @Test
  void paint_controlCharacters_doNotReachTheTerminal() {
    assertThat(colors.paint("a\u001b[2J\tb\nc\u0007", HeadId.FINAL))
        .isEqualTo("a\\u001b[2J\tb\nc\\u0007");
  }

  @Test
  void paint_withoutTerminal_leavesTheTextAlone() {
    assertThat(new ExitColors(List.of(2), Ansi.OFF).paint("a\u001b", HeadId.exit(2)))
        .isEqualTo("a\u001b");
  }

  @Test
  void legend_namesEveryHead() {
    assertThat(new ExitColors(List.of(2, 4), Ansi.OFF).legend())
        .isEqualTo("exit 2  exit 4  final head");
  }
}
