package org.eellm.cli.generate;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Path;
import java.util.List;
import org.eellm.decode.request.GenerateException;
import org.eellm.file.InputFiles;

/** Prompts, one a line; {@code -} is standard input. */
public final class PromptFile {
  private static final int MOST_BYTES = 100_000_000;

  private PromptFile() {}

  static boolean isStandardInput(Path file) {
    return file.toString().equals("-");
  }

  /**
   * The lines that are not blank.
   *
   * @throws GenerateException if there are none, or the file is a folder or not UTF-8
   */
  public static List<String> lines(Path file) throws IOException {
    try {
      String all =
          isStandardInput(file)
              ? InputFiles.text(System.in, file, MOST_BYTES)
              : InputFiles.text(file, MOST_BYTES);
      List<String> texts = all.lines().filter(line -> !line.isBlank()).toList();
      if (texts.isEmpty()) {
        throw new GenerateException(file + " has no prompt; write one a line");
      }
      return texts;
    } catch (CharacterCodingException malformed) {
      throw new GenerateException(file + " is not UTF-8; convert it, for example with iconv");
    }
  }
}
