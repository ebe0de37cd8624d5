@echo off
rem Runs eellm on Windows, and builds it first where there is no build.
rem
rem   eellm --help
rem   set EELLM_JAVA_OPTS=-Xmx8g    gives Java more options
rem   rmdir /s target\lib           after changes of sources: the next command builds again
rem
rem Needs a JDK 25 or newer in JAVA_HOME or on the PATH, and for building Maven 3.9.
setlocal
set "root=%~dp0"
set "jdk=%JAVA_HOME%"
if not defined jdk for %%j in (java.exe) do for %%h in ("%%~dp$PATH:j..") do set "jdk=%%~fh"
set "release=0"
if exist "%jdk%\release" for /f tokens^=2^ delims^=.^=^" %%v in ('findstr /b "JAVA_VERSION=" "%jdk%\release"') do set "release=%%v"
if %release% lss 25 (
  echo eellm: no JDK 25 or newer in JAVA_HOME or on the PATH; install one from https://adoptium.net, or set JAVA_HOME 1>&2
  exit /b 1
)
if not exist "%root%target\lib\built" (
  where /q mvn || (
    echo eellm: building needs Maven 3.9, and there is no mvn on the PATH; install it from https://maven.apache.org 1>&2
    exit /b 1
  )
  echo eellm: building; the first time this fetches some 400 MB of libraries 1>&2
  set "JAVA_HOME=%jdk%"
  call mvn -q -B -f "%root%pom.xml" -pl eellm-cli -am -Dmaven.test.skip=true package dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=%root%target\lib" 1>&2 || (
    rmdir /s /q "%root%target\lib" 2>nul
    echo eellm: the build failed; what it says is above 1>&2
    exit /b 1
  )
  type nul > "%root%target\lib\built"
)
rem As in the launcher for other systems.
"%jdk%\bin\java" ^
  -Xlog:cds=off,aot=off,perf+memops=off ^
  -XX:+UseSerialGC ^
  --add-modules jdk.incubator.vector ^
  --enable-native-access=ALL-UNNAMED ^
  --sun-misc-unsafe-memory-access=allow ^
  -Djava.awt.headless=true ^
  -Dorg.bytedeco.javacpp.maxphysicalbytes=0 ^
  -Dorg.bytedeco.javacpp.maxbytes=0 ^
  -Deellm.blas=openblas ^
  %EELLM_JAVA_OPTS% ^
  -cp "%root%target\lib\*;%root%eellm-cli\target\classes" ^
  org.eellm.cli.Main %*
