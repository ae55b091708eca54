# In the place of what nixpkgs' debClosureGenerator makes: a function that gives lists of fetched packages.
{ fetchurl }: [ [ (fetchurl { }) ] ]
